using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.OpenApi;

namespace DiTRuntime.Tests.Serving.OpenApi;

/// <summary>The OpenAPI document: valid, and about what is really mapped.</summary>
[TestFixture]
internal sealed class OpenApiDocumentTests
{
    private ServerFixture _server = null!;
    private OpenApiDocument _document = null!;

    [OneTimeSetUp]
    public async Task Start()
    {
        _server = await ServerFixture.StartAsync();
        var (document, diagnostic) = OpenApiDocument.Parse(await _server.Client.GetStringAsync("/openapi/v1.json"), OpenApiConstants.Json);
        Assert.That(diagnostic!.Errors.Concat(diagnostic.Warnings).Select(e => e.ToString()), Is.Empty);
        _document = document!;
    }

    [OneTimeTearDown]
    public async Task Stop() => await _server.DisposeAsync();

    [Test]
    public void It_follows_the_rules_of_such_documents() =>
        Assert.That(_document.Validate(ValidationRuleSet.GetDefaultRuleSet()).Select(e => e.ToString()), Is.Empty);

    [Test]
    public void It_says_the_version_of_the_product() => Assert.That(_document.Info.Version, Is.EqualTo(ProductVersion.Text));

    [Test]
    public void It_describes_what_is_mapped_and_nothing_else()
    {
        var described = _document.Paths.SelectMany(path => path.Value.Operations!.Keys.Select(method => $"{method} {path.Key}"));
        Assert.That(described, Is.EquivalentTo(Endpoints().Select(e => e.Name)));
    }

    [Test]
    public void It_asks_for_a_key_where_the_service_does()
    {
        var open = _document.Paths.SelectMany(path => path.Value.Operations!.Where(o => o.Value.Security is { Count: 0 }).Select(o => $"{o.Key} {path.Key}"));
        Assert.That(open, Is.EquivalentTo(Endpoints().Where(e => e.IsOpen).Select(e => e.Name)));
    }

    [Test]
    public void Every_operation_has_a_name_of_its_own_and_a_refusal_for_missing_keys()
    {
        var operations = _document.Paths.SelectMany(path => path.Value.Operations!.Values).ToArray();
        Assert.That(operations.Select(o => o.OperationId), Is.Unique.And.All.Not.Null);
        Assert.That(operations.Where(o => o.Security is not { Count: 0 }).Select(o => o.Responses!.Keys), Has.All.Contain("401"));
        Assert.That(operations.Where(o => o.RequestBody is not null).Select(o => o.Responses!.Keys), Has.All.Contain("400").And.All.Contain("413").And.All.Contain("415"));
    }

    /// <summary>What is mapped, without the page.</summary>
    private IEnumerable<(string Name, bool IsOpen)> Endpoints() =>
        from endpoint in _server.App.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()
        where endpoint.DisplayName != "page"
        from method in endpoint.Metadata.GetRequiredMetadata<IHttpMethodMetadata>().HttpMethods
        select ($"{method} {endpoint.RoutePattern.RawText}", endpoint.Metadata.GetMetadata<Microsoft.AspNetCore.Authorization.IAllowAnonymous>() is not null);
}
