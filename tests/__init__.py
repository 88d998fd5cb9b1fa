"""Tests, `make bench` and `make faults`. A package, as torch-fidelity installs another one of this name."""
