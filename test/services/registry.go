package services

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// confluentAPI is where Apicurio speaks Confluent's API.
const confluentAPI = "/apis/ccompat/v7"

// apicurio is Apicurio Registry, which keeps schemas in memory.
func apicurio() *service {
	return &service{
		name:      "Apicurio Registry 3.0.9",
		image:     "apicurio/apicurio-registry:3.0.9",
		artifacts: []artifact{{group: "io.apicurio", name: "apicurio-registry-app", version: "3.0.9", kind: "tar.gz", classifier: "all"}},
		ports:     1,
		launch: func(ports []int, anywhere bool) launch {
			host := "127.0.0.1"
			if anywhere {
				host = "0.0.0.0"
			}
			return launch{
				env:       map[string]string{"QUARKUS_HTTP_PORT": strconv.Itoa(ports[0]), "QUARKUS_HTTP_HOST": host},
				script:    `exec "$JAVA" -Xmx512m ` + quick + ` -jar "$LIBRARIES"/apicurio-registry-app-3.0.9-runner.jar`,
				ownScript: true,
			}
		},
		ready: func(ctx context.Context, ports []int) error {
			status, _, err := request(ctx, http.MethodGet, "http://"+local(ports[0])+confluentAPI+"/subjects", nil)
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("answers with status %d", status)
			}
			return err
		},
	}
}

func (m *machine) registry() (SchemaRegistry, error) {
	if url := m.getenv(envRegistry); url != "" {
		m.say("schema registry from %s at %s", envRegistry, url)
		return SchemaRegistry{URL: url}, nil
	}
	_, ports, err := m.keep(apicurio())
	if err != nil {
		return SchemaRegistry{}, err
	}
	return SchemaRegistry{URL: "http://" + local(ports[0]) + confluentAPI}, nil
}

// request asks once, on a connection that is closed again: an idle one would be a
// goroutine that the tests find.
func request(ctx context.Context, method, url string, body io.Reader) (status int, header http.Header, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header, err
}
