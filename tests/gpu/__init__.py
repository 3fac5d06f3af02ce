"""Tests that need a CUDA device. Without one they are skipped and say so."""
