"""``torchrun ... -m longvt_plugins.sft ARGUMENTS``: lmms-engine's launcher with our names known to it.

The fallback for an environment whose Hydra does not find ``hydra_plugins`` (``longvt doctor`` says so); otherwise
``-m lmms_engine.launch.cli`` does the same. Its module runs as ``__main__``: imported, it does not find its own
default configuration.
"""

import runpy

if __name__ == "__main__":
    import lmms_engine.train  # noqa: F401  (everything that the launcher imports, so that registering finds it whole)

    from longvt_plugins.datasets.lmms.register import register

    register()
    runpy.run_module("lmms_engine.launch.cli", run_name="__main__", alter_sys=True)
