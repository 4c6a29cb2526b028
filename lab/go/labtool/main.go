// Command labtool holds the small processes that a lab needs and no package has: standard library only, static.
package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func(args []string) error{
		"pause":   pause,   // the sandbox of every pod, and what keeps the node's mount namespace
		"hold":    hold,    // a program that ends when whoever started it does
		"forward": forward, // a port on the host's loopback to the ingress
		"serve":   serve,   // what the tests run in a pod
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: labtool pause | hold PROGRAM [ARGUMENT…] | forward LISTEN TARGET | serve ADDRESS")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "labtool %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
