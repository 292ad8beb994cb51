"""crop_video: one engine-free function and its skins. ``CropVideoTool`` (verl) is loaded when asked for."""

__all__ = ["CropVideoTool"]


def __getattr__(name: str):
    if name == "CropVideoTool":
        from .verl_tool import CropVideoTool

        return CropVideoTool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
