"""The report: one HTML file that shows what a run found. It reads the run folder alone and imports no torch.

    build.py      the list of sections, and the one function `build_report`
    sections/     one file per section: from the run's files to the values that its template prints
    templates/    page.html (layout, style) and one template per section
    results.py    what one task has found, read and checked once; its sentences
    curves.py     from predictions and history to rows of drawings with captions
    beside.py     the seed report's figures beside ours
    commands.py   the command that makes a part again
    figures.py    drawings (matplotlib, as inline SVG)
    pictures.py   radiographs (as data in the page), or a placeholder where a file can't be read
    wording.py    numbers, intervals, times and names as a reader meets them

To add a section: write sections/<name>.py with a function `<name>(run) -> Section | None`, its template
templates/<name>.html, and one line in build.SECTIONS.
"""
