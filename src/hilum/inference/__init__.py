"""One way from images to answers: runtimes that compute, a streaming predictor, typed predictions."""
