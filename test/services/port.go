package services

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// Ports are taken below those that systems give to outgoing connections (from
// 32768 on Linux, from 49152 elsewhere): while a service is down, its port must not become
// the local port of a connection. A client that dials a port of that range often
// enough even reaches itself.
const firstPort, lastPort = 15000, 32000

// freePorts returns n ports on which nothing listens.
func freePorts(n int) ([]int, error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	var ports []int
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		// Every address: an engine publishes a port on all of them.
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		held = append(held, l)
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no free ports on this machine")
}

// portTaken reports whether a service did not start because of its ports.
func portTaken(err error) bool {
	for _, text := range []string{"Address already in use", "address already in use", "port is already allocated", "Failed to bind", "already bound"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// local is the address of a port of this machine.
func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
