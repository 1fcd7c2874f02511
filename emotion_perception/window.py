"""A window that shows pictures: OpenCV's where its build has one, Tk's otherwise."""

from __future__ import annotations

import os
import sys
from typing import Any

import cv2
import numpy as np


class Window:
    """A window on the desktop.

    Raises:
        RuntimeError: no display, or neither OpenCV nor Tk can open a window.
    """

    def __init__(self, title: str) -> None:
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise RuntimeError("no display to open a window on")
        self._title = title
        self._root: Any = None
        self._closed = False
        try:
            cv2.namedWindow(title, cv2.WINDOW_AUTOSIZE)
        except cv2.error:  # the headless build
            self._open_tk()

    def show(self, image: np.ndarray | None) -> bool:
        """Show ``image``, uint8 ``(H, W, 3)`` bgr (None keeps the last one); False once the user has closed it."""
        if self._root is not None:
            return self._show_tk(image)
        if image is not None:
            cv2.imshow(self._title, image)
        key = cv2.waitKey(1) & 0xFF
        return key not in (27, ord("q")) and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close it."""
        if self._root is None:
            cv2.destroyAllWindows()
        elif not self._closed:
            self._root.destroy()

    def _open_tk(self) -> None:
        try:
            import tkinter
        except ImportError as error:
            raise RuntimeError(
                "OpenCV has no windows in this build and Tk is missing (apt install python3-tk)"
            ) from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise RuntimeError(f"the window cannot be opened ({error})") from error
        self._root.title(self._title)
        self._label = tkinter.Label(self._root)
        self._label.pack()
        self._root.protocol("WM_DELETE_WINDOW", self._on_close)
        for key in ("<Escape>", "q"):
            self._root.bind(key, lambda _: self._on_close())
        self._photo_class = tkinter.PhotoImage

    def _show_tk(self, image: np.ndarray | None) -> bool:
        if image is not None and not self._closed:
            height, width = image.shape[:2]
            # PPM is the one format that every Tk reads from memory.
            ppm = b"P6 %d %d 255 " % (width, height) + cv2.cvtColor(image, cv2.COLOR_BGR2RGB).tobytes()
            self._photo = self._photo_class(data=ppm, format="PPM")  # kept: Tk holds no reference of its own
            self._label.configure(image=self._photo)
        if not self._closed:
            self._root.update()
        return not self._closed

    def _on_close(self) -> None:
        self._closed = True
        self._root.destroy()
