"""The real control plane of the end-to-end suite: etcd, kube-apiserver and its friends as child processes."""
