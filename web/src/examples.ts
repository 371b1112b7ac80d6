/** Comments to try, some of them under a video. */

export interface Example {
  comment: string;
  title: string;
  summary: string;
}

const alone = (comment: string): Example => ({ comment, title: "", summary: "" });

const COOKING = {
  title: "10분 만에 끝내는 김치볶음밥",
  summary: "신김치와 찬밥으로 김치볶음밥을 만드는 과정을 보여 준다. 마지막에 반숙 계란을 올린다.",
};

export const EXAMPLES: Example[] = [
  alone("이 영상 덕분에 하루의 피로가 다 풀렸어요. 늘 고맙습니다!"),
  alone("소리가 너무 작고 광고만 계속 나와서 끝까지 못 봤네요."),
  { comment: "3분 20초에 넣은 양념이 고추장인가요?", ...COOKING },
  { comment: "따라 했다가 팬 하나 태워 먹었습니다 ㅋㅋㅋ 그래도 맛은 있었어요", ...COOKING },
];
