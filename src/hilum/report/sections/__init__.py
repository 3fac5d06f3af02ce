"""Sections that have no folder of their own yet."""

from hilum.report.section import Section as Section
