"""Exact occlusion maps and the engines that make them fast."""
