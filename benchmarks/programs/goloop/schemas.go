package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/hamba/avro/v2"
)

// Bytes before the Avro body: a magic byte and the id of the writer's schema.
const headerBytes = 5

type schema struct {
	avro       avro.Schema
	hasBrowser bool
}

var schemas = map[int32]schema{}

func schemaID(value []byte) int32 {
	return int32(binary.BigEndian.Uint32(value[1:headerBytes]))
}

// schemaOf asks the registry once for each id.
func schemaOf(id int32) schema {
	if found, known := schemas[id]; known {
		return found
	}
	answer, err := http.Get(fmt.Sprintf("%s/schemas/ids/%d", os.Getenv("STREAMAPP_SCHEMA_REGISTRY_URL"), id))
	must(err)
	defer answer.Body.Close()
	var found struct{ Schema string }
	must(json.NewDecoder(answer.Body).Decode(&found))
	parsed, err := avro.ParseWithCache(found.Schema, "", &avro.SchemaCache{})
	must(err)
	schemas[id] = schema{parsed, strings.Contains(found.Schema, `"browser"`)}
	return schemas[id]
}
