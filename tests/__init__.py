import os

# As the command line does: threads that spin while they wait starve the worker beside them, which starves us in turn.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when LightGBM is loaded, which is later
