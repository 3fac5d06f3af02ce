"""Explanations: which evidence a decision, a layer and a filter rest on. They work on any plain torch network.

    attribution.py   `explain`: the map of one method, by the method's name
    methods/         one file = one attribution method
    occlusion/       exact occlusion maps and their engines
    network/         recording a network, receptive fields, running a part of it
    filters/         maximal activations, synthesised inputs, ablation, probes, concepts
    faithfulness/    evaluation of explanations, with the network alone and on phantoms
    evidence.py, fills.py, cam.py, lungs.py, images.py    what these share

Nothing is imported here, so that the names of stages and settings are known without torch.
"""
