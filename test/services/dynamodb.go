package services

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// dynamoDBLocal is Amazon's own DynamoDB for tests.
func dynamoDBLocal() *service {
	const home = "/home/dynamodblocal"
	return &service{
		name:      "DynamoDB Local 2.6.1",
		image:     "amazon/dynamodb-local:2.6.1",
		libraries: home + "/DynamoDBLocal_lib",
		classpath: home + "/DynamoDBLocal.jar:" + home + "/DynamoDBLocal_lib/*",
		artifacts: []artifact{{group: "com.amazonaws", name: "DynamoDBLocal", version: "2.6.1"}},
		ports:     1,
		launch: func(ports []int, _ bool) launch {
			return launch{script: fmt.Sprintf(`exec "$JAVA" -Xmx512m -XX:+UseSerialGC -Djava.library.path="$LIBRARIES" -cp "$CLASSPATH" `+
				`com.amazonaws.services.dynamodbv2.local.main.ServerRunner -inMemory -sharedDb -disableTelemetry -port %d`, ports[0])}
		},
		ready: func(ctx context.Context, ports []int) error {
			// Any answer to an unsigned request is one: it is refused, by DynamoDB.
			status, header, err := request(ctx, http.MethodPost, "http://"+local(ports[0])+"/", strings.NewReader("{}"))
			if err == nil && header.Get("x-amzn-RequestId") == "" {
				err = fmt.Errorf("answers with status %d, not as a DynamoDB", status)
			}
			return err
		},
	}
}

func (m *machine) dynamoDB() (Dynamo, error) {
	if endpoint := m.getenv(envDynamoDB); endpoint != "" {
		m.say("DynamoDB from %s at %s", envDynamoDB, endpoint)
		return Dynamo{Endpoint: endpoint}, nil
	}
	_, ports, err := m.keep(dynamoDBLocal())
	if err != nil {
		return Dynamo{}, err
	}
	return Dynamo{Endpoint: "http://" + local(ports[0])}, nil
}
