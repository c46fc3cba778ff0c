"""The next steps for an artifact with names that are not on the list of trusted names."""

from collections.abc import Iterable

OWN_PACKAGE = (
    "Add the package to requirements/own.in and run `make run` again (the image: --build-arg OWN=requirements/own.in). "
    "Then run `.venv/bin/python -m tools.trusted_names PACKAGE`, read what it prints, and add the exact names to "
    "MODELS_TRUSTED_GLOBALS."
)
_INTO_A_PACKAGE = (
    "Put the class or function into a package that the service has installed. 1. Move it into a module, e.g. "
    "shop/features.py. 2. In the notebook: `from shop.features import Name`, fit, and save again. "
    f"3. {OWN_PACKAGE}"
)
# cloudpickle and dill store the code of objects that cannot be imported. Trust in their functions, which rebuild it,
# would be trust in any code.
_CODE_IN_THE_FILE = (
    "The file holds code itself, such as a lambda or a function of a notebook. The code in a file is never run here. "
    f"{_INTO_A_PACKAGE}"
)
# By name prefix: names for which an addition to the list does not help.
_ADVICE = {
    "__main__.": (
        f"`__main__` is the notebook or script that trained the model, which nothing else can import. {_INTO_A_PACKAGE}"
    ),
    "cloudpickle.": _CODE_IN_THE_FILE,
    "dill.": _CODE_IN_THE_FILE,
    "scipy.stats.": (
        "A search over distributions of scipy.stats stores them. Publish the model that the search found, "
        "search.best_estimator_."
    ),
    "joblib.memory.": "The pipeline stores a cache. Call pipeline.set_params(memory=None), and publish it again.",
}
# Names that lead to access to the machine; no ordinary model contains them.
_DANGEROUS_MODULES = frozenset(
    [
        "os",
        "posix",
        "nt",
        "ntpath",
        "posixpath",
        "subprocess",
        "_posixsubprocess",
        "sys",
        "shutil",
        "socket",
        "_socket",
        "ssl",
        "pty",
        "importlib",
        "imp",
        "runpy",
        "code",
        "codeop",
        "ctypes",
        "_ctypes",
        "cffi",
        "multiprocessing",
        "threading",
        "_thread",
        "signal",
        "tempfile",
        "io",
        "_io",
        "glob",
        "fileinput",
        "linecache",
        "webbrowser",
        "urllib",
        "urllib2",
        "urllib3",
        "http",
        "httplib",
        "requests",
        "ftplib",
        "smtplib",
        "telnetlib",
        "asyncio",
        "pickle",
        "_pickle",
        "marshal",
        "shelve",
        "dbm",
        "zipimport",
        "pkgutil",
        "pydoc",
        "pip",
        "setuptools",
        "distutils",
        "timeit",
        "trace",
        "cProfile",
        "profile",
        "pdb",
        "bdb",
        "doctest",
        "atexit",
        "getpass",
        "commands",
        "popen2",
        "django",
        "boto3",
        "botocore",
    ]
)
_DANGEROUS_NAMES = frozenset(
    [
        "builtins.eval",
        "builtins.exec",
        "builtins.compile",
        "builtins.open",
        "builtins.__import__",
        "builtins.getattr",
        "builtins.setattr",
        "builtins.delattr",
        "builtins.globals",
        "builtins.locals",
        "builtins.vars",
        "builtins.breakpoint",
        "builtins.input",
        "builtins.execfile",
        "builtins.file",
        "builtins.type",
        "builtins.help",
        "builtins.memoryview",
        "builtins.super",
        "numpy.load",
        "numpy.save",
        "numpy.fromfile",
        "numpy.loadtxt",
        "numpy.genfromtxt",
        "numpy.savetxt",
        "pandas.read_pickle",
        "pandas.io.pickle.read_pickle",
        "pandas.eval",
        "joblib.load",
        "joblib.dump",
        "joblib.numpy_pickle.load",
        "joblib.numpy_pickle.dump",
        "joblib.disk.delete_folder",
        "dill.load",
        "dill.loads",
        "cloudpickle.load",
        "cloudpickle.loads",
        "operator.attrgetter",
        "operator.methodcaller",
        "types.FunctionType",
        "types.CodeType",
    ]
)
_DANGEROUS_PREFIXES = ("numpy.f2py.", "numpy.testing.", "sklearn.utils._testing.", "sklearn.datasets.")
_DO_NOT_TRUST = (
    "Such names reach files, programs or the network of this server, which no ordinary model needs. Do not trust this "
    "file. No part of it was run. Find out where it comes from, and train the model again yourself."
)
# Libraries that users train with but this server lacks, with a way to export a supported file.
_WITH_STEPS = "Train the model with steps of scikit-learn, or export it as ONNX"
_OTHER_LIBRARIES = {
    **dict.fromkeys(["torch", "torchvision", "pytorch_lightning"], "Export it with torch.onnx.export"),
    **dict.fromkeys(["tensorflow", "keras", "tf_keras"], "Export it as ONNX with model.export or tf2onnx"),
    **dict.fromkeys(
        ["xgboost", "lightgbm"],
        "Use one of its classifiers, regressors or rankers, or its Booster",
    ),
    "catboost": "Export it as ONNX with model.save_model('model.onnx', format='onnx')",
    "imblearn": "Put the fitted steps that predict into a pipeline of scikit-learn",
    # Its encoders store pandas tables, which no list of names can make safe to rebuild.
    "category_encoders": "Encode with scikit-learn's TargetEncoder, OrdinalEncoder or OneHotEncoder",
    "feature_engine": "Use only its transformers with plain values",
    **dict.fromkeys(
        [
            "statsmodels",
            "prophet",
            "sktime",
            "pyod",
            "river",
            "mlxtend",
            "sklearn2pmml",
            "transformers",
            "sentence_transformers",
            "spacy",
            "nltk",
            "gensim",
            "fastai",
            "autogluon",
            "pycaret",
            "hdbscan",
            "umap",
            "lifelines",
            "surprise",
            "implicit",
            "polars",
            "pyarrow",
            "cuml",
            "dask",
            "dask_ml",
            "skorch",
            "tpot",
        ],
        _WITH_STEPS,
    ),
    "pandas": (
        "Train the pipeline with plain lists and arrays instead of pandas objects, such as frame.columns.tolist() or "
        "mask.to_numpy()"
    ),
}
_COMMON_ADVICE = f"{OWN_PACKAGE} Or publish the model as ONNX or skops."


def is_dangerous(name: str) -> bool:
    """Return whether a name gives access beyond the model: files, programs, the network, code in texts."""
    module = name.partition(".")[0]
    return module in _DANGEROUS_MODULES or name in _DANGEROUS_NAMES or name.startswith(_DANGEROUS_PREFIXES)


def advice(names: Iterable[str]) -> str:
    """Return the next step, in whole sentences, for an artifact whose `names` are not on the list."""
    names = tuple(names)
    if any(is_dangerous(name) for name in names):
        return _DO_NOT_TRUST
    libraries = sorted({name.partition(".")[0] for name in names} & _OTHER_LIBRARIES.keys())
    if libraries:
        ways = dict.fromkeys(_OTHER_LIBRARIES[library] for library in libraries)
        return (
            f"This server does not load objects of {' and '.join(libraries)} from such a file. "
            f"{'. '.join(ways)}. Then publish that."
        )
    steps = dict.fromkeys(step for prefix, step in _ADVICE.items() if any(name.startswith(prefix) for name in names))
    return " ".join(steps) or _COMMON_ADVICE
