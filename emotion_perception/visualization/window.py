"""A window that shows images, with Tk.

Not with OpenCV: its Qt build and PyAV each bring their own libxcb, and with both loaded its first window never opens.
"""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np


class Window:
    """A window on the desktop; Escape, q or its button closes it.

    Raises:
        RuntimeError: no display, or no Tk.
    """

    def __init__(self, title: str) -> None:
        if sys.platform == "linux" and not os.environ.get("DISPLAY"):
            raise RuntimeError("no display to open a window on")
        try:
            import tkinter
        except ImportError as error:
            raise RuntimeError("a window needs Tk (apt install python3-tk)") from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise RuntimeError(f"the window cannot be opened ({error})") from error
        self._open = True
        self._root.title(title)
        self._label = tkinter.Label(self._root)
        self._label.pack()
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        for key in ("<Escape>", "q"):
            self._root.bind(key, lambda _: self.close())
        self._new_photo = tkinter.PhotoImage

    def show(self, image: np.ndarray | None) -> bool:
        """Show ``image``, uint8 ``(H, W, 3)`` bgr (None: keep the last one); False once the user has closed it."""
        if self._open and image is not None:
            height, width = image.shape[:2]
            # PPM is the only format that every Tk reads from memory.
            ppm = b"P6 %d %d 255 " % (width, height) + cv2.cvtColor(image, cv2.COLOR_BGR2RGB).tobytes()
            self._photo = self._new_photo(data=ppm, format="PPM")  # Tk keeps no reference of its own
            self._label.configure(image=self._photo)
        if self._open:
            self._root.update()
        return self._open

    def close(self) -> None:
        """Close the window; a second call does nothing."""
        if self._open:
            self._open = False
            self._root.destroy()
