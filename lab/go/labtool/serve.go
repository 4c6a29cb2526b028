package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

const probeDeadline = 5 * time.Second

// serve answers on ADDRESS with the name of its host, and dials what it is asked to: /dial?to=HOST:PORT says whether a
// pod gets there, and what it is greeted with.
func serve(args []string) error {
	if len(args) != 1 {
		return errors.New("give ADDRESS")
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "pod %s got %s for %s\n", host, r.URL.Path, r.Host)
	})
	mux.HandleFunc("/dial", func(w http.ResponseWriter, r *http.Request) {
		to, err := net.DialTimeout("tcp", r.URL.Query().Get("to"), probeDeadline)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer to.Close()
		fmt.Fprintln(w, "reached", to.RemoteAddr())
	})
	mux.HandleFunc("/resolve", func(w http.ResponseWriter, r *http.Request) {
		addresses, err := net.DefaultResolver.LookupHost(r.Context(), r.URL.Query().Get("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintln(w, addresses)
	})
	server := http.Server{Addr: args[0], Handler: mux, ReadHeaderTimeout: probeDeadline}
	fmt.Println("serving on", args[0])
	return server.ListenAndServe()
}
