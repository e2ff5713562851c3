package services

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// pullWithin is how long an image that is not here may take to come.
const pullWithin = 5 * time.Minute

// containers starts services as containers, from the images that users run.
type containers struct {
	prepare sync.Once
}

func (*containers) name() string { return "containers" }

func (c *containers) start(ctx context.Context, s *service, ports []int) (instance, error) {
	c.prepare.Do(withoutReaper)
	engine, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, fmt.Errorf("no engine answers: %w", err)
	}
	defer func() { _ = engine.Close() }()
	if _, err := engine.Ping(ctx, client.PingOptions{}); err != nil {
		return nil, fmt.Errorf("no engine answers: %w", err)
	}
	if host := engine.DaemonHost(); !strings.HasPrefix(host, "unix:") && !strings.Contains(host, "//127.0.0.1") && !strings.Contains(host, "//localhost") {
		return nil, fmt.Errorf("the engine %s is not on this machine, where the ports are needed", host)
	}
	if err := obtain(ctx, engine, s.image); err != nil {
		return nil, err
	}
	name := "sluice-services-" + strings.ToLower(rand.Text()[:12])
	g, err := newGuard(`docker rm --force --volumes "$1" >/dev/null 2>&1`, name)
	if err != nil {
		return nil, err
	}
	made, err := testcontainers.Run(ctx, s.image, append(s.launch(ports, true).inContainer(s), testcontainers.WithName(name), publish(ports))...)
	started := &containerized{image: s.image, name: name, guard: g}
	if err != nil {
		started.remove()
		return nil, err
	}
	started.id = made.GetContainerID()
	return started, nil
}

// withoutReaper turns off the container by which testcontainers clears away, if
// its image is not here: the guard clears away too, and nothing has to be pulled.
// Without the docker command the guard can do nothing, so the reaper must come.
// Testcontainers reads the variable once, hence before anything else.
func withoutReaper() {
	log.SetDefault(log.NewNoopLogger()) // it would say three lines for each container
	if _, err := exec.LookPath("docker"); err != nil {
		return
	}
	image := testcontainers.ReaperDefaultImage //nolint:staticcheck // its other place is internal
	if exec.Command("docker", "image", "inspect", image).Run() != nil {
		_ = os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	}
}

// obtain pulls an image that is not here, without trying twice: where no registry
// can be reached another way is better than waiting.
func obtain(ctx context.Context, engine *testcontainers.DockerClient, image string) error {
	if _, err := engine.ImageInspect(ctx, image); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pullWithin)
	defer cancel()
	pull, err := engine.ImagePull(ctx, image, client.ImagePullOptions{})
	if err == nil {
		err = errors.Join(pull.Wait(ctx), pull.Close())
	}
	if err != nil {
		return fmt.Errorf("image %s is not here and cannot be pulled: %w", image, err)
	}
	return nil
}

// inContainer is l for a container from the image of s.
func (l launch) inContainer(s *service) []testcontainers.ContainerCustomizer {
	const dir = "/tmp"
	env := map[string]string{"JAVA": "java", "LIBRARIES": s.libraries, "CLASSPATH": s.classpath, "DIR": dir}
	maps.Copy(env, l.env)
	opts := []testcontainers.ContainerCustomizer{testcontainers.WithEnv(env)}
	if !l.ownScript {
		opts = append(opts, testcontainers.WithEntrypoint("sh", "-c", l.script), testcontainers.WithCmd())
	}
	for name, content := range l.files {
		opts = append(opts, testcontainers.WithFiles(testcontainers.ContainerFile{
			Reader: strings.NewReader(content), ContainerFilePath: path.Join(dir, name), FileMode: 0o644,
		}))
	}
	return opts
}

// publish gives a container the same ports as on this machine. They are chosen
// here and not by the engine: a broker must know how clients reach it before it
// starts, and a stopped container would come back with others.
func publish(ports []int) testcontainers.CustomizeRequestOption {
	var exposed []string
	bound := make(network.PortMap)
	for _, p := range ports {
		port := network.MustParsePort(fmt.Sprintf("%d/tcp", p))
		exposed = append(exposed, port.String())
		bound[port] = []network.PortBinding{{HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), HostPort: fmt.Sprint(p)}}
	}
	return func(r *testcontainers.GenericContainerRequest) error {
		return errors.Join(
			testcontainers.WithExposedPorts(exposed...)(r), // what is not exposed is not bound
			testcontainers.WithHostConfigModifier(func(h *container.HostConfig) { h.PortBindings = bound })(r),
		)
	}
}

// containerized is a service that runs in a container. Its data is in the
// container, so that it is there again after a stop or a kill.
type containerized struct {
	image, name, id string
	guard           *guard
}

func (c *containerized) from() string {
	return fmt.Sprintf("in container %.12s (%s)", c.id, c.image)
}

func (c *containerized) container() string { return c.id }

// ask calls the engine on connections of its own, which end with the call: idle
// ones would be goroutines that the tests find.
func (c *containerized) ask(call func(context.Context, *testcontainers.DockerClient) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*stopWithin)
	defer cancel()
	engine, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = engine.Close() }()
	return call(ctx, engine)
}

func (c *containerized) alive() bool {
	alive := false
	err := c.ask(func(ctx context.Context, engine *testcontainers.DockerClient) error {
		found, err := engine.ContainerInspect(ctx, c.name, client.ContainerInspectOptions{})
		alive = err == nil && found.Container.State.Running
		return err
	})
	return err == nil && alive
}

func (c *containerized) halt(kill bool) error {
	return c.ask(func(ctx context.Context, engine *testcontainers.DockerClient) error {
		if kill {
			_, err := engine.ContainerKill(ctx, c.name, client.ContainerKillOptions{Signal: "SIGKILL"}) // returns when it has ended
			return err
		}
		seconds := int(stopWithin.Seconds())
		_, err := engine.ContainerStop(ctx, c.name, client.ContainerStopOptions{Timeout: &seconds})
		return err
	})
}

func (c *containerized) again() error {
	return c.ask(func(ctx context.Context, engine *testcontainers.DockerClient) error {
		_, err := engine.ContainerStart(ctx, c.name, client.ContainerStartOptions{})
		return err
	})
}

func (c *containerized) remove() {
	_ = c.ask(func(ctx context.Context, engine *testcontainers.DockerClient) error {
		_, err := engine.ContainerRemove(ctx, c.name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		return err
	})
	c.guard.act()
}

func (c *containerized) tail() string {
	var text strings.Builder
	err := c.ask(func(ctx context.Context, engine *testcontainers.DockerClient) error {
		logs, err := engine.ContainerLogs(ctx, c.name, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "40"})
		if err != nil {
			return err
		}
		defer logs.Close()
		_, err = stdcopy.StdCopy(&text, &text, logs)
		return err
	})
	if err != nil {
		return err.Error()
	}
	return text.String()
}
