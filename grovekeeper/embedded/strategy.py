"""What a kind makes of an object that is to be stored: unknown fields, defaults, status, validation."""

from collections.abc import Iterator

from grovekeeper.api import errors, raw, structural
from grovekeeper.api.validate import syntax
from grovekeeper.embedded import answers, patches, pods
from grovekeeper.embedded.call import Call
from grovekeeper.embedded.kinds import Kind
from grovekeeper.embedded.storage import Storage


def check_fields(call: Call, body: raw.Object, content: str) -> None:
    """Refuse unknown fields, or warn of them, as `fieldValidation` asks; apply always refuses them.

    Raises StatusError.
    """
    unknown = [path for path, _known in structural.unknown(body, call.kind.schema)]
    if not unknown or call.query.get("fieldValidation") == "Ignore":
        return
    if content == patches.APPLY:
        text = f"failed to create typed patch object: .{unknown[0]}: field not declared in schema"
        raise answers.StatusError(400, "BadRequest", text)
    texts = [f'unknown field "{path}"' for path in unknown]
    if call.query.get("fieldValidation") == "Strict":
        raise answers.StatusError(400, "BadRequest", f"strict decoding error: {', '.join(texts)}")
    call.warnings.extend(texts)


def prepared(kind: Kind, obj: raw.Object, storage: Storage) -> raw.Object:
    """Return a new object with its defaults, and without a status of its author's."""
    if kind.schema is not None:
        mine = {key: value for key, value in obj.items() if key != "status"} if kind.has_status else obj
        found: raw.Object = structural.pruned(mine, kind.schema)
        return found
    if kind.kind == "Pod":
        priority_class = storage.get(
            ("scheduling.k8s.io", "priorityclasses"), ("", obj["spec"].get("priorityClassName") or "")
        )
        return pods.defaulted(obj, priority_class or {})
    return obj


def check(kind: Kind, obj: raw.Object, old: raw.Object | None) -> None:
    """Refuse an object that its kind does not allow, with a cause for each field. Raises StatusError."""
    found = [*_annotations(obj), *structural.faults(obj, kind.schema, old)]
    if kind.kind == "Pod":
        fault = pods.creation_fault(obj) if old is None else pods.update_fault(obj, old)
        if fault:
            found.append(errors.FieldError(fault[0], "Forbidden", fault[1]))
    if found:
        name = obj["metadata"].get("name", "")
        causes = [
            {
                "field": each.path,
                "reason": f"FieldValue{each.reason}",
                "message": each.text().removeprefix(f"{each.path}: "),
            }
            for each in found
        ]
        full = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
        text = f'{full} "{name}" is invalid: {errors.joined(found)}'
        raise answers.StatusError(422, "Invalid", text, {"name": name, "causes": causes})


def _annotations(obj: raw.Object) -> Iterator[errors.FieldError]:
    if syntax.annotation_bytes(obj["metadata"].get("annotations") or {}) > syntax.MOST_ANNOTATIONS:
        yield errors.FieldError(
            "metadata.annotations", "TooLong", f"may not be more than {syntax.MOST_ANNOTATIONS} bytes"
        )
