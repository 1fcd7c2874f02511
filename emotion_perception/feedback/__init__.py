"""Recent faces and voices, corrected labels, face images for reports: shared by the page, the nodes and learning."""
