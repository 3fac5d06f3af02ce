"""The command line: one short command per stage. Heavy imports stay inside the commands."""

# In the order of `hilum --help`.
# isort: off
from hilum.cli import study as study
from hilum.cli import stages as stages
from hilum.cli import predict as predict
from hilum.cli import compare as compare
from hilum.cli import data as data
from hilum.cli.app import app as app
from hilum.cli.app import main as main
