"""Write the data set to a file: ``data.py OUTPUT``."""

import sys

import numpy as np
from sklearn.datasets import load_breast_cancer

found = load_breast_cancer()
np.savez(sys.argv[1], X=found.data, y=found.target, names=found.feature_names)
