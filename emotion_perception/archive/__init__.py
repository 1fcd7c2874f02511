"""Archives of recordings, analysed by the robot's own core into one data set: on one machine or on many."""
