// Command etcd is the etcd server of the real end-to-end suite.
//
// The module's own command cannot be installed with "go install": its go.mod has replace directives.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
