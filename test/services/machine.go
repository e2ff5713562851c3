package services

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// readyWithin is how long a service may take from its start to its first answer,
// on a machine that is busy with other things.
const readyWithin = 2 * time.Minute

// service is one service in both forms in which it can be started.
type service struct {
	name      string // as people call it, with its release
	image     string // container image
	libraries string // folder of its jars and native libraries in the image
	classpath string // its class path in the image
	artifacts []artifact
	ports     int // ports of this machine that it needs
	launch    func(ports []int, anywhere bool) launch
	ready     func(ctx context.Context, ports []int) error
}

// launch is what it takes to start a service once its ports are known. The script
// is for a POSIX shell, where $JAVA is the Java to use, $LIBRARIES and $CLASSPATH
// the service's jars and $DIR a folder of its own that holds files. It must end in
// exec, so that signals reach the service. An image whose own command is as good
// is started with that.
type launch struct {
	files     map[string]string
	env       map[string]string
	script    string
	ownScript bool // the image's own command does what script does
}

// way is one way to start services on this machine.
type way interface {
	name() string
	// start starts s, which is not ready yet when start returns.
	start(ctx context.Context, s *service, ports []int) (instance, error)
}

// instance is a service that was started. Its methods may be called one at a time.
type instance interface {
	// from says what it is, for people.
	from() string
	// container is the ID of its container, empty if it is none.
	container() string
	// alive is false once it has ended.
	alive() bool
	// tail is the end of its log.
	tail() string
	// halt ends it, in order or at once as SIGKILL does, and waits for the end.
	halt(kill bool) error
	// again starts it after halt, with the data and the ports it had.
	again() error
	// remove ends it at once and removes all that is left of it.
	remove()
}

// machine knows which ways there are here.
type machine struct {
	getenv func(string) string
	stderr io.Writer
	ways   []way

	mu     sync.Mutex
	kept   []instance
	broken map[string]error // ways that failed, by way and service; not tried again
}

// here is the machine that the tests run on.
var here = sync.OnceValue(func() *machine {
	return newMachine(os.Getenv, os.Stderr, &containers{}, &maven{getenv: os.Getenv})
})

func newMachine(getenv func(string) string, stderr io.Writer, ways ...way) *machine {
	return &machine{getenv: getenv, stderr: stderr, ways: ways, broken: make(map[string]error)}
}

// allows reports whether the environment leaves this way open.
func (m *machine) allows(way string) bool {
	only := m.getenv(envServices)
	return only == "" || only == way
}

// say prints a line about what is used.
func (m *machine) say(format string, args ...any) {
	fmt.Fprintf(m.stderr, "services: "+format+"\n", args...)
}

// start starts s in the first way that works, and waits until it answers. The
// error says for each way why not, in a line; what a way had to tell beyond that,
// such as a log, is printed. A way that failed is not tried again.
func (m *machine) start(s *service) (instance, []int, error) {
	var why []string
	for _, w := range m.ways {
		if !m.allows(w.name()) {
			why = append(why, fmt.Sprintf("%s: %s=%s", w.name(), envServices, m.getenv(envServices)))
			continue
		}
		key := w.name() + " " + s.name
		m.mu.Lock()
		err := m.broken[key]
		m.mu.Unlock()
		if err == nil {
			var i instance
			var ports []int
			began := time.Now()
			if i, ports, err = start(w, s); err == nil {
				m.say("%s %s at %s, started in %.1f s", s.name, i.from(), local(ports[0]), time.Since(began).Seconds())
				return i, ports, nil
			}
			if strings.Contains(err.Error(), "\n") {
				m.say("%s: %s: %v", s.name, w.name(), err)
			}
			m.mu.Lock()
			m.broken[key] = err
			m.mu.Unlock()
		}
		line, _, _ := strings.Cut(err.Error(), "\n")
		why = append(why, w.name()+": "+line)
	}
	return nil, nil, errors.New(strings.Join(why, "; "))
}

// keep is start for what lives as long as this process. Its guard is referenced
// from here, so that it acts at the end of the process and not before.
func (m *machine) keep(s *service) (instance, []int, error) {
	i, ports, err := m.start(s)
	if err == nil {
		m.mu.Lock()
		m.kept = append(m.kept, i)
		m.mu.Unlock()
	}
	return i, ports, err
}

// start starts s in one way, with other ports if somebody took one in between.
func start(w way, s *service) (instance, []int, error) {
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(s.ports)
		if err != nil {
			return nil, nil, err
		}
		i, err := w.start(context.Background(), s, ports)
		if err == nil {
			if err = await(i, s, ports); err == nil {
				return i, ports, nil
			}
			i.remove()
		}
		if attempt == 3 || !portTaken(err) {
			return nil, nil, err
		}
	}
}

// await returns when i answers, or with the end of its log when it does not.
func await(i instance, s *service, ports []int) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	for {
		try, done := context.WithTimeout(ctx, 5*time.Second)
		err := s.ready(try, ports)
		done()
		if err == nil {
			return nil
		}
		if !i.alive() {
			return fmt.Errorf("%s ended before it was ready; its log ends:\n%s", s.name, i.tail())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %w; its log ends:\n%s", s.name, readyWithin, err, i.tail())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
