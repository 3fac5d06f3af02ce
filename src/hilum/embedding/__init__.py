"""The space of cases: vectors of a trained model, neighbours, maps, retrieval, suspects.

extract      one pass: logits and vectors of named layers; vectors.npz with ids and the model's digest
space        what is done to vectors before distances mean something: standardising, PCA, LDA
neighbors    exact nearest neighbours in blocks, the kNN classifier, faiss for large sets
selection    k and the choices of the space by patient-disjoint cross-validation on train
projection   maps in two dimensions, each with figures that say how far to reliability it
retrieval    "which cases look like this one", and how often that works
suspects     labels that look wrong, near copies, density per class
baselines    what the same tables look like without training
stage        all of it for one task of a run
"""
