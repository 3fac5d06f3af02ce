"""The section "Embedding space": how similar the images are to the model.

section      what is printed, in the order of the page
task         one task's artifact and tables
classifiers  the table of classifiers, its first sentence, the confusion matrices
projections  the maps and how faithful they are
images       examples with their neighbours, label suspects, pairs that look like one image twice
explorer     what the interactive map's script reads
sprites      small pictures of very many images
plots        the still map for paper
"""
