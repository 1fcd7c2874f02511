"""Models at run time: OpenVINO, published and foreign networks, and their cards."""
