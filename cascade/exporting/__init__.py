"""The networks as ONNX files: for other runtimes, for browsers and for phones. Needs the extra ``[onnx]``.

`cascade.exporting.files.export_onnx` writes the files and a manifest. `cascade.engines.onnx.OnnxEngine` runs the
detector's networks on ONNX Runtime, behind the stages that all engines share.

>>> from cascade.exporting.files import export_onnx
>>> export_onnx("models", ["detector"])  # doctest: +SKIP
"""
