using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using DiTRuntime.Tests.Checkpoints;

namespace DiTRuntime.Tests.Serving;

/// <summary>Damages requests the way careless and hostile clients do; a generator of one seed gives one sequence.</summary>
internal sealed class FuzzMutator(Random random)
{
    private static readonly string[] s_methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "FOO", "M-SEARCH"];

    private static readonly string[] s_pieces =
        ["..", ".", "%2e%2e", "%2f", "%00", "%ff", "%", "", "a", "0", "-1", "999999999999", "job_", "digits", "JOB", "images", "infer", "é", "\ud83d\ude00", "\\", ";", "//", "etc/passwd", new string('a', 3000)];

    private static readonly string[] s_numbers = ["", "-1", "0", "1", "2", "3", "1e400", "NaN", "-0", "0x10", "1.5", "9223372036854775807", "9223372036854775808", "٣", "%", "🙂"];

    private static readonly string[] s_values =
    [
        "null", "true", "\"\"", "\"3\"", "\"bogus\"", "\"\\u0000\"", "\"@half\"", "-1", "0", "1", "2", "3", "4", "1.5", "1e400", "-1e400", "2147483648", "9223372036854775808",
        "[]", "{}", "[[]]", "[3]", "[1,2,3,4]", "[null]", "\"INT64\"", "\"FP32\"", "\"BYTES\"", "\"latents\"", "\"images\"", "\"ddpm\"", "\"url\"", "\"1,2,3,4,5,6\"", "1e-400", "[9,9,[9]]",
    ];

    private static readonly string[] s_names = ["prompt", "n", "seed", "steps", "size", "inputs", "outputs", "data", "shape", "name", "parameters", "binary_data_size", "", "é"];

    private static readonly (string, string)[] s_headers =
    [
        ("Content-Type", "application/json"), ("Content-Type", "application/octet-stream"), ("Content-Type", "text/plain"), ("Content-Type", "application/json; charset=\"\u00ff"), ("Content-Type", ";"),
        ("Inference-Header-Content-Length", "0"), ("Inference-Header-Content-Length", "-1"), ("Inference-Header-Content-Length", "10"), ("Inference-Header-Content-Length", "99999999999999999999"),
        ("Accept-Encoding", "gzip"), ("Accept", "application/openmetrics-text; version=1.0.0"), ("If-None-Match", "*"), ("If-None-Match", "\"x\", W/\"y\""), ("Range", "bytes=5-1"),
        ("X-API-Key", "key"), ("Authorization", "Bearer"), ("Transfer-Encoding", "gzip"), ("Upgrade", "h2c"), ("X-Long", new string('x', 20_000)), ("Cookie", "a=b"), ("Origin", "null"), ("Last-Event-ID", "-1"),
    ];

    /// <summary>A damaged request that still is HTTP.</summary>
    public FuzzRequest Damage(FuzzRequest request)
    {
        for (var i = random.Next(1, 3); i > 0; i--) request = DamageOnce(request);
        return request;
    }

    /// <summary>What is sent over a connection, and may not be HTTP at all.</summary>
    public byte[] DamageBytes(FuzzRequest request)
    {
        var bytes = request.ToBytes();
        switch (random.Next(6))
        {
            case 0:
                return bytes[..random.Next(bytes.Length)];
            case 1:
                random.NextBytes(bytes);
                return bytes;
            case 2:
                // A second request where none may be any more, and a body in broken chunks.
                return [.. bytes, .. bytes];
            case 3:
                var chunked = $"POST {request.Target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n{Pick(["5", "ffffffff", "-1", "zz", "0", "7fffffffffffffff"])}\r\n{{}}\r\n";
                return Encoding.Latin1.GetBytes(chunked);
            default:
                return new Mutation(random.Next()).Apply(bytes);
        }
    }

    private FuzzRequest DamageOnce(FuzzRequest request) => random.Next(10) switch
    {
        0 => request with { Method = Pick(s_methods) },
        1 => request with { Target = DamagePath(request.Target) },
        2 => request with { Target = DamageQuery(request.Target) },
        3 => request with { Headers = [.. request.Headers.Where(_ => random.Next(3) > 0), Pick(s_headers)] },
        4 or 5 or 6 when request.Body.Length > 0 => request with { Body = new Mutation(random.Next()).Apply(request.Body) },
        _ when request.Body.Length > 0 => DamageJson(request),
        _ => request,
    };

    private string DamagePath(string target)
    {
        var query = target.IndexOf('?', StringComparison.Ordinal);
        var (path, rest) = query < 0 ? (target, "") : (target[..query], target[query..]);
        var segments = path.Split('/').ToList();
        var at = random.Next(1, segments.Count);
        switch (random.Next(3))
        {
            case 0:
                segments[at] = Pick(s_pieces);
                break;
            case 1:
                segments.Insert(at, Pick(s_pieces));
                break;
            default:
                segments.RemoveAt(at);
                break;
        }

        return "/" + string.Join('/', segments.Skip(1)) + rest;
    }

    private string DamageQuery(string target)
    {
        var query = target.IndexOf('?', StringComparison.Ordinal);
        if (query < 0) return target + "?" + Pick(s_names) + "=" + Pick(s_numbers);
        var fields = target[(query + 1)..].Split('&');
        var at = random.Next(fields.Length);
        fields[at] = random.Next(4) == 0 ? Pick(s_pieces) : fields[at].Split('=')[0] + "=" + Pick(s_numbers);
        return target[..query] + "?" + string.Join('&', fields);
    }

    private FuzzRequest DamageJson(FuzzRequest request)
    {
        var length = Math.Min(request.JsonLength ?? request.Body.Length, request.Body.Length);
        byte[] json;
        try
        {
            if (JsonNode.Parse(request.Body.AsSpan(0, length)) is not JsonObject root) return request;
            DamageNode(root);
            json = Encoding.UTF8.GetBytes(root.ToJsonString().Replace("@half", "\\ud800", StringComparison.Ordinal));
        }
        catch (Exception e) when (e is JsonException or ArgumentException or InvalidOperationException)
        {
            // What was damaged before is left as it is.
            return request;
        }

        var damaged = request with { Body = [.. json, .. request.Body[length..]] };
        // Half the time the header tells the truth about the new JSON.
        return request.JsonLength is null || random.Next(2) == 0
            ? damaged
            : damaged with { Headers = [("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", json.Length.ToString(CultureInfo.InvariantCulture))] };
    }

    private void DamageNode(JsonNode node)
    {
        while (true)
        {
            // Into one of its children, or here.
            var children = node switch
            {
                JsonObject o => o.Select(p => p.Value).OfType<JsonNode>().Where(c => c is JsonObject or JsonArray).ToArray(),
                JsonArray a => [.. a.OfType<JsonNode>().Where(c => c is JsonObject or JsonArray)],
                _ => [],
            };
            if (children.Length == 0 || random.Next(3) == 0) break;
            node = Pick(children);
        }

        if (node is JsonArray array) DamageArray(array);
        else DamageObject((JsonObject)node);
    }

    private void DamageArray(JsonArray array)
    {
        var at = random.Next(array.Count + 1);
        if (at == array.Count) array.Add(Value());
        else if (random.Next(3) == 0) array.RemoveAt(at);
        else if (random.Next(3) == 0) array.Add(array[at]?.DeepClone());
        else array[at] = Value();
    }

    private void DamageObject(JsonObject node)
    {
        if (node.Count == 0 || random.Next(6) == 0)
        {
            node[Pick(s_names)] = Value();
            return;
        }

        var name = node.ElementAt(random.Next(node.Count)).Key;
        if (random.Next(4) == 0) node.Remove(name);
        else node[name] = Value();
    }

    private JsonNode? Value() => JsonNode.Parse(Pick(s_values));

    private T Pick<T>(IReadOnlyList<T> from) => from[random.Next(from.Count)];
}
