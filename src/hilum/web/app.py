"""The application (skeleton)."""

import json

import cv2
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from hilum.data.decode import decode
from hilum.data.images import to_uint8
from hilum.serving.predictor import packaged
from hilum.web.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    app = FastAPI(title="hilum", docs_url=None, redoc_url=None)

    async def files(request: Request) -> list[bytes]:
        if request.headers.get("content-type", "").startswith("multipart/"):
            form = await request.form()
            return [await part.read() for part in form.getlist("file")]
        return [await request.body()]

    @app.get("/v1/models")
    def models() -> list[dict]:
        predictor = packaged("cpu")
        return [
            {
                "id": "packaged",
                "name": "packaged",
                "digest": predictor.name.digest,
                "task": "multiclass",
                "classes": list(predictor.classes),
                "pixels": predictor.classifier.runtime.pixels.to_contract().model_dump(mode="json"),
                "schema_version": 1,
                "methods": ["layer_cam"],
                "neighbors": False,
                "run": None,
            }
        ]

    @app.post("/v1/predict")
    async def predict(request: Request) -> Response:
        data = await files(request)
        found = []
        for number, each in enumerate(data):
            [prediction] = packaged("cpu").stream([decode(each)])
            found.append({**prediction.model_dump(mode="json"), "file": f"image {number + 1}"})
        return JSONResponse(found[0] if len(found) == 1 else found)

    @app.post("/v1/preview")
    async def preview(request: Request) -> Response:
        [data] = await files(request)
        grey = to_uint8(decode(data))
        rows, cols = grey.shape
        png = cv2.imencode(".png", grey)[1].tobytes()
        return Response(png, media_type="image/png", headers={"Hilum-Width": str(cols), "Hilum-Height": str(rows)})

    try:
        from hilum.web.page.routes import router
    except ModuleNotFoundError:
        pass
    else:
        app.include_router(router)
    app.state.settings = settings
    return app
