"""Starting the graph: the table of nodes, processes, one process for all, the demo."""
