# SPDX-License-Identifier: Apache-2.0
"""One checkpoint in PyTorch and TensorFlow: are they the same?"""

import argparse

import numpy as np
import tensorflow as tf
import torch
from transformers import DistilBertForSequenceClassification, TFDistilBertForSequenceClassification

parser = argparse.ArgumentParser()
parser.add_argument("path")
arguments = parser.parse_args()

pt_model = DistilBertForSequenceClassification.from_pretrained(arguments.path)
tf_model = TFDistilBertForSequenceClassification.from_pretrained(arguments.path, from_pt=True)

ids = np.random.default_rng(0).integers(5, 30, (3, 8))
with torch.no_grad():
    of_pytorch = pt_model(torch.from_numpy(ids), labels=torch.tensor([0, 1, 0]))
of_tensorflow = tf_model(tf.constant(ids), None, None, None, False, False, True, tf.constant([0, 1, 0]))
print(*of_pytorch.logits.ravel().tolist(), of_pytorch.loss.item())
print(*of_tensorflow.logits.numpy().ravel(), float(tf.reduce_mean(of_tensorflow.loss)))
assert np.allclose(of_pytorch.logits.numpy(), of_tensorflow.logits.numpy(), atol=1e-4)
