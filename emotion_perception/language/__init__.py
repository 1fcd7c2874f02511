"""What language models may ask the robot about people, over the Model Context Protocol."""
