"""The phantom: synthetic chest radiographs of synthetic children, where the truth about every pixel is known.

    settings    which set: number of patients, size, seed, planted shortcut; the plan of its images
    canvas      an image to draw on in the patient's coordinates; curves and textures
    anatomy     what belongs to a patient and to a pose; outlines of lungs, heart, ribs, vessels
    tissue      what absorbs X-rays
    lesions     what disease adds
    exposure    from absorption to grey values; the letter of the side; the planted shortcut
    generate    all of it together: one image with its masks

A seeded program lays down what absorbs X-rays (soft tissue, rib cage, spine, heart, vessels, abdomen), takes
away the air of two lungs, adds disease, and exposes an image of it with varying position, breath, exposure,
blur and grain. Each image comes with the masks of lungs, heart, ribs and lesion, so that an explanation can be
checked against the truth.

Anatomy and disease belong to the patient, position and exposure to the image: several images of one patient
show the same ribs, vessels and lesion. Nothing but the lesion depends on the label, so one generator state
with the labels 'normal' and 'virus' gives twins that differ in the lesion alone.

    normal     clear lungs; vessels, thymus, shallow breath, rotation, tubes and leads confound
    bacteria   one opacity, sometimes two, each within one lobe: soft border, air bronchograms
    virus      both lungs: thickened peribronchial markings, a reticular net, patchy haze
"""
