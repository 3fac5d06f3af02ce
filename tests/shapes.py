"""The type and shape check that the tests run over every function of hilum."""

from beartype import BeartypeConf, beartype

# PEP 484's numeric tower: an int is a float, as in every type checker and throughout hilum.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
