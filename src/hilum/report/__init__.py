"""The report: one HTML file that shows what a run found. It reads the run folder alone and imports no torch.

    build.py        the list of sections, and the one function `build_report`
    <section>/      one folder per section: section.py (from the run's files to the values that the template
                    prints), plots.py (drawings), template.html
    section.py      the contract of a section
    absent.py       the section that stands where a stage has left nothing
    templates/      page.html, its style and script, and macros that several sections print
    commands.py     the command that makes a part again
    facts.py        run.json, typed
    titles.py       headings of the tasks
    figures.py      drawings (matplotlib, as inline SVG)
    pictures.py     radiographs (as data in the page), or a placeholder where a file can't be read
    wording.py      numbers, intervals, times and names as a reader meets them

To add a section: a folder with section.py (`make(run) -> Section | None`) and template.html, and one line in
build.SECTIONS; or the same folder in a plug-in that $HILUM_PLUGINS names.
"""
