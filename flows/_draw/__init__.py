"""Pictures of flows: boxes and arrows from a plan or a run, laid out by Graphviz, written as SVG, Mermaid and DOT.

Data's way: `_graph` unrolls a plan into jobs and edges -> `_picture` makes boxes of them, one for jobs that are alike
where there are too many -> `_layout` gives them places -> `_svg` writes them, `_status` what stands in a box.
"""
