"""Vectors of a trained model, and what distances between them are worth.

extract      one pass over the images: logits and vectors of named layers
vectors      vectors.npz, with ids, splits and the model's digest
cases        labels, patients and splits of the cases that have a vector
space        what is done to vectors before a distance means something: standardising, PCA, LDA
neighbors    exact nearest neighbours in blocks, and the kNN classifier
approximate  the same through faiss, for large sets, with its recall
selection    k and the space by patient-disjoint cross-validation on train
classifiers  head, linear probe, kNN and baselines in one table
baselines    raw pixels, HOG, a random network; the linear probe
projection   maps in two dimensions
map_quality  how faithful a map is
retrieval    how often the images found for an image are of its class
suspects     labels that look wrong, near copies, density per class
query        the training images most similar to a radiograph in no split
show         tables for the terminal
"""
