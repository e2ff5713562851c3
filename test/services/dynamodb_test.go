package services

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestDynamoDBKeepsAnItemForEveryRegion(t *testing.T) {
	t.Parallel()
	d := DynamoDB(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := func(region, key string) *dynamodb.Client {
		return dynamodb.New(dynamodb.Options{
			HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
			Region:     region, BaseEndpoint: aws.String(d.Endpoint),
			Credentials: credentials.NewStaticCredentialsProvider(key, "secret", ""),
		})
	}
	table := aws.String("services-" + time.Now().Format("150405.000000"))
	writer := client("eu-central-1", "writer")
	_, err := writer.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: table, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("k"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("k"), KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		t.Fatal(err)
	}
	item := map[string]types.AttributeValue{"k": &types.AttributeValueMemberS{Value: "one"}, "n": &types.AttributeValueMemberN{Value: "9007199254740993"}}
	if _, err := writer.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: item}); err != nil {
		t.Fatal(err)
	}
	got, err := client("us-west-2", "reader").GetItem(ctx, &dynamodb.GetItemInput{
		TableName: table, ConsistentRead: aws.Bool(true), Key: map[string]types.AttributeValue{"k": item["k"]},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := got.Item["n"].(*types.AttributeValueMemberN); !ok || n.Value != "9007199254740993" {
		t.Errorf("got %v, want n = 9007199254740993", got.Item)
	}
}
