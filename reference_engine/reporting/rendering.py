"""How every page is made from its template: nothing unescaped, nothing undefined."""

import jinja2


def template_environment(package: str, /) -> jinja2.Environment:
    """Return the templates of a package, in which a name that is not given is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
