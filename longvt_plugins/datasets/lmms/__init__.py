"""SFT with unmodified lmms-engine: ``dataset_type: longvt``, processors ``longvt_qwen2_5_vl``, ``longvt_qwen3_vl``.

``register`` makes the names known; Hydra's search-path plugin calls it when ``lmms_engine.launch.cli`` runs.
"""
