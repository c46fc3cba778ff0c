"""Next steps for files whose extension is not a supported format."""

from __future__ import annotations

DEFAULT = "Save the model with joblib.dump(model, 'model.joblib'), and publish that."
_XGBOOST = "If it is a model of XGBoost, save it with model.save_model('model.ubj'), and publish that."
_TORCH = "If it is a model of PyTorch, export it with torch.onnx.export, and publish that."
_TENSORFLOW = (
    "If it is a model of TensorFlow or Keras, export it as ONNX with model.export or tf2onnx, and publish that."
)
_COMPRESSED = "If it is a compressed pickle, rename it to end in .joblib: it is read as it is."
_ARCHIVE = "Archives are not unpacked. Publish the model's own file, or an MLflow model directory by the command line."
_DATA = "Such a file holds data. Publish the fitted model."
NEXT_STEPS = {
    ".cbm": "Export a model of CatBoost as ONNX with model.save_model('model.onnx', format='onnx'), and publish that.",
    ".txt": "If it is a model of LightGBM, rename it to end in .lgb.",
    **dict.fromkeys((".model", ".bin", ".bst", ".xgb", ".deprecated"), _XGBOOST),
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".safetensors"), _TORCH),
    **dict.fromkeys((".h5", ".hdf5", ".keras", ".pb", ".tflite"), _TENSORFLOW),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".lzma", ".z"), _COMPRESSED),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), _ARCHIVE),
    **dict.fromkeys((".csv", ".npy", ".npz", ".parquet"), _DATA),
}


def next_step(ending: str) -> str:
    """Return the next step for a file extension, in upper or lower case, as a sentence."""
    return NEXT_STEPS.get(ending.lower(), DEFAULT)
