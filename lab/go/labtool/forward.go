package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const dialDeadline = 5 * time.Second

// forward passes every connection to LISTEN on to TARGET, byte for byte.
func forward(args []string) error {
	if len(args) != 2 {
		return errors.New("give LISTEN and TARGET")
	}
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Printf("forwarding %s to %s\n", args[0], args[1])
	for {
		in, err := listener.Accept()
		if err != nil {
			return err
		}
		go pass(in.(*net.TCPConn), args[1])
	}
}

func pass(in *net.TCPConn, target string) {
	defer in.Close()
	dialled, err := net.DialTimeout("tcp", target, dialDeadline)
	if err != nil {
		fmt.Println(err)
		return
	}
	out := dialled.(*net.TCPConn)
	defer out.Close()
	done := make(chan struct{}, 2)
	half := func(to, from *net.TCPConn) {
		// A reset on one side has to end the other too; an orderly end closes one direction only.
		if _, err := io.Copy(to, from); err != nil {
			in.Close()
			out.Close()
		} else {
			_ = to.CloseWrite()
		}
		done <- struct{}{}
	}
	go half(out, in)
	go half(in, out)
	<-done
	<-done
}
