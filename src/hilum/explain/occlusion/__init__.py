"""Exact occlusion maps and the engines that make them fast."""

from hilum.explain.occlusion.occlusion_map import occlusion_map as occlusion_map
